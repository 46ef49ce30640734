"""TIFF files written byte by byte, as other programs write them: pages, then their directories."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Value = int | str | tuple[int, int] | Sequence[int]  # whole numbers, text, a fraction

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, OFFSETS = 256, 257, 258, 259, 262, 270, 273
SAMPLES, ROWS, LENGTHS, X_RESOLUTION, Y_RESOLUTION, UNIT, COLOURS, FORMAT = 277, 278, 279, 282, 283, 296, 320, 339
REDUCED, EXTRA = 254, 338


def write_tiff(
    file: Path,
    pages: Sequence[np.ndarray],
    description: str = "",
    order: str = "<",
    big: bool = False,
    bits: int | None = None,
    tags: Mapping[int, Value] | None = None,
    own: Mapping[int, Mapping[int, Value]] | None = None,
) -> Path:
    """Write pages (y, x) or (y, x, samples), uncompressed, one strip each.

    Args:
        file: Where to.
        pages: Of any size and type each.
        description: Of the first page.
        order: "<" or ">".
        big: BigTIFF.
        bits: Packed so many a sample; None: as the type has them.
        tags: Of every page: number -> value.
        own: Of some pages: index -> tags.
    """
    word, entry, pointer = ("Q", 20, 8) if big else ("I", 12, 4)
    data = bytearray(struct.pack(f"{order}2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 0))
    if not big:
        data = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))
    link = len(data) - pointer
    for index, page in enumerate(pages):
        pixels = _packed(page, bits) if bits else page.astype(page.dtype.newbyteorder(order)).tobytes()
        offset = len(data)
        data += pixels + bytes(len(pixels) % 2)
        samples = page.shape[2] if page.ndim == 3 else 1
        entries: dict[int, Value] = {
            WIDTH: page.shape[1],
            HEIGHT: page.shape[0],
            BITS: [bits or 8 * page.dtype.itemsize] * samples,
            COMPRESSION: 1,
            PHOTOMETRIC: 2 if samples >= 3 else 1,
            OFFSETS: offset,
            SAMPLES: samples,
            ROWS: page.shape[0],
            LENGTHS: len(pixels),
            FORMAT: [{"u": 1, "b": 1, "i": 2, "f": 3, "c": 6}[page.dtype.kind]] * samples,
            **({DESCRIPTION: description} if description and not index else {}),
            **(tags or {}),
            **((own or {}).get(index, {})),
        }
        packed = {tag: _value(tag, value, order, big) for tag, value in sorted(entries.items())}
        for tag, (kind, count, raw) in packed.items():
            if len(raw) > pointer:
                packed[tag] = kind, count, struct.pack(f"{order}{word}", len(data))
                data += raw + bytes(len(raw) % 2)
        data[link : link + pointer] = struct.pack(f"{order}{word}", len(data))
        data += struct.pack(f"{order}{'Q' if big else 'H'}", len(packed))
        for tag, (kind, count, raw) in packed.items():
            data += struct.pack(f"{order}HH{word}", tag, kind, count) + raw.ljust(pointer, b"\0")
        assert entry == 4 + 2 * pointer
        link = len(data)
        data += bytes(pointer)
    file.write_bytes(data)
    return file


def imagej(slices: int = 1, **values: object) -> str:
    """ImageJ's description."""
    lines = {"ImageJ": "1.54f", "images": slices, **({"slices": slices} if slices > 1 else {}), **values}
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def ome(shape: tuple[int, int, int], images: int = 1, c: int = 1, t: int = 1, **sizes: object) -> str:
    """OME's description of images of shape (z, y, x)."""
    z, y, x = shape
    counts = f'SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="{c}" SizeT="{t}" DimensionOrder="XYZCT" Type="uint16"'
    given = " ".join(f'{key}="{value}"' for key, value in sizes.items())
    pixels = "".join(
        f'<Image ID="Image:{k}"><Pixels ID="Pixels:{k}" {counts} {given}><TiffData/></Pixels></Image>'
        for k in range(images)
    )
    return f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{pixels}</OME>'


def _value(tag: int, value: Value, order: str, big: bool) -> tuple[int, int, bytes]:
    if isinstance(value, str):
        text = value.encode("latin-1" if value.isascii() else "utf-8") + b"\0"
        return 2, len(text), text
    if isinstance(value, tuple):
        return 5, 1, struct.pack(f"{order}II", *value)
    numbers = [value] if isinstance(value, int) else list(value)
    if tag in (OFFSETS, LENGTHS) and big:
        return 16, len(numbers), struct.pack(f"{order}{len(numbers)}Q", *numbers)
    long = tag in (WIDTH, HEIGHT, OFFSETS, LENGTHS, REDUCED, ROWS)
    return (4 if long else 3), len(numbers), struct.pack(f"{order}{len(numbers)}{'I' if long else 'H'}", *numbers)


def _packed(page: np.ndarray, bits: int) -> bytes:
    """The lowest bits of each number, row by row, rows filled up to whole bytes."""
    places = (page[..., None].astype(np.int64) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(places.reshape(len(page), -1).astype(np.uint8), axis=1).tobytes()
