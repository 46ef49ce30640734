"""PNG and BMP files written byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's colour types


def write_png(
    file: Path,
    samples: np.ndarray,
    colour: int,
    bits: int = 8,
    palette: np.ndarray | None = None,
    promised: tuple[int, int] | None = None,
) -> Path:
    """Write (y, x) or (y, x, n) of whole numbers below 2**bits; palette: (n, 3); promised: rows, columns instead."""
    height, width = samples.shape[:2]
    if bits == 16:
        rows = samples.reshape(height, -1).astype(">u2").view(np.uint8)
    else:
        places = (samples.reshape(height, -1)[..., None].astype(np.uint8) >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(places.reshape(height, -1).astype(np.uint8), axis=1)
    filtered = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with the kind of its filter: none
    height, width = promised or (height, width)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if palette is not None:
        chunks.append((b"PLTE", palette.astype(np.uint8).tobytes()))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")]
    parts = [struct.pack(">I", len(data)) + _checked(kind + data) for kind, data in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return file


def _checked(chunk: bytes) -> bytes:
    return chunk + struct.pack(">I", zlib.crc32(chunk))


def write_bmp(file: Path, samples: np.ndarray, palette: np.ndarray | None = None, upside_down: bool = True) -> Path:
    """Write (y, x) of 8 bits with a palette (256, 3), grey if not given, or (y, x, 3) of 24 bits, (y, x, 4) of 32."""
    height, width = samples.shape[:2]
    depth = 8 if samples.ndim == 2 else 8 * samples.shape[2]
    colours = b""
    if depth == 8:
        palette = np.repeat(np.arange(256)[:, None], 3, axis=1) if palette is None else palette
        colours = np.pad(palette[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    pixels = samples if samples.ndim == 2 else samples[..., [2, 1, 0, *range(3, samples.shape[2])]]
    rows = pixels[:: -1 if upside_down else 1].reshape(height, -1).astype(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    start = 54 + len(colours)
    head = struct.pack("<2sIHHI", b"BM", start + rows.size, 0, 0, start)
    size = height if upside_down else -height
    info = struct.pack("<IiiHHIIiiII", 40, width, size, 1, depth, 0, rows.size, 2835, 2835, len(colours) // 4, 0)
    file.write_bytes(head + info + colours + rows.tobytes())
    return file
