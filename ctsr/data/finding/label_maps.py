"""Label maps (masks, segmentations) beside scans, in the same formats: told by their place, name or voxels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
from PIL import Image

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import files_of, naming
from ctsr.imaging.formats.recognise import files_in, format_of, is_picture, is_tiff, stem
from ctsr.imaging.formats.tiff.pages import listening
from ctsr.imaging.volume import Array

PLACES = ("label", "labels", "labelstr", "labelsts", "labelsval", "mask", "masks", "segmentation", "segmentations")
_NAMED = re.compile(r"(\.seg|[._-](seg|segmentation|dseg|mask|masks|label|labels|labelmap))$", re.IGNORECASE)
MOST_LABELS = 150  # TotalSegmentator has 117
HIGHEST_LABEL = 255
FEW_GREYS = 4  # as many are no scan, however they lie
UNIFORM = 0.8  # share of neighbours with one label, leaving out the most frequent; in a scan's noise few are alike
NEVER = 1e-3  # a probability; background has no more
SLICES = 4  # looked at, of a volume
SMALL = 2**20  # bytes that are read whole in no time
LARGEST_READ = 2**30  # bytes of a MetaImage or NRRD, which may have to be read whole; larger ones are scans
DENSEST = 0.25  # bytes a voxel of compressed labels; a scan that is compressed takes more


def is_label_place(name: str) -> bool:
    """Whether folders of that name hold label maps, in the layouts of public data sets."""
    return name.lower() in PLACES


def is_label_name(path: Path) -> bool:
    """Whether a scan's file or folder is named as segmentation programs name label maps."""
    return _NAMED.search(stem(path)) is not None


def why_label_map(path: Path, expected: bool = False) -> str | None:
    """Why a scan is taken for a label map; None: it is none, or is not readable, which its reader will tell.

    A few whole numbers from 0 make a label map, in any number type, where they lie in patches of one number; greys of
    CT go below 0 or far above the labels, and noise makes neighbours differ. At the first slice that is none, no more
    is read.

    Args:
        path: Of any format that is read.
        expected: Its place or name says label map: then labels may be higher and more, or probabilities, or all 0.
    """
    if re.search(r"\.seg\.(nrrd|nhdr)$", path.name, re.IGNORECASE):
        return "a segmentation by its name"
    try:
        with naming(path), listening([]):
            return _why(path, expected)
    except UserError:  # the scan's reader meets it again, and tells
        return None


def _why(path: Path, expected: bool) -> str | None:
    greys: set[float] = set()
    alike = edges = 0
    for plane in _planes(path):
        if plane.ndim != 2 or not _may_be_labels(plane, expected):
            return None
        found, counts = np.unique(plane, return_counts=True)
        greys |= set(found.astype(float).tolist())
        background = found[counts.argmax()]
        for a, b in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
            inside = (a != background) | (b != background)
            alike, edges = alike + int((a == b)[inside].sum()), edges + int(inside.sum())
        uniform = alike >= UNIFORM * edges and (expected or len(greys) <= MOST_LABELS)
        if len(greys) > FEW_GREYS and max(greys) > 1 and not uniform:
            return None
    if expected:
        return "a label map" if greys else None
    if len(greys) < 2:
        return None  # all of one grey, as far as was looked
    few = sorted(greys)[:FEW_GREYS]
    listed = ", ".join(f"{grey:g}" for grey in few) + (", ..." if len(greys) > FEW_GREYS else "")
    return f"a label map or segmentation of only {_counted(len(greys))} greys ({listed})"


def _counted(number: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(number, str(number))


def _may_be_labels(plane: Array, expected: bool) -> bool:
    if plane.dtype.kind not in "iufb" or not plane.size or plane.min() < 0:
        return False
    whole = plane.dtype.kind != "f" or bool((plane == np.rint(plane)).all())
    if whole:
        return bool(expected or plane.max() <= HIGHEST_LABEL)
    return bool(expected and plane.max() <= 1 and np.median(plane) < NEVER)  # probabilities


def _planes(path: Path) -> Iterator[Array]:
    """A few slices: those of the ends, which are cheap to come to, and of the middle."""
    match format_of(path):
        case "nifti":
            image: Any = nibabel.load(path)
            for k in _chosen(image.shape[2]):
                yield np.asarray(image.dataobj[:, :, k]).squeeze()
        case "metaimage" | "nrrd":
            yield from _itk_planes(path)
        case "tiff":
            files = [file for file in files_in(path) if is_tiff(file)] if path.is_dir() else [path]
            if len(files) > 1:
                yield from (tifffile.imread(files[k]).squeeze() for k in _chosen(len(files)))
            else:
                yield from _tiff_planes(files[0])
        case "images":
            files = [file for file in files_in(path) if is_picture(file)]
            yield from (np.asarray(Image.open(files[k])) for k in _chosen(len(files)))


def _tiff_planes(file: Path) -> Iterator[Array]:
    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        if len(series.pages) > 1:
            yield from (series.asarray(key=k).squeeze() for k in _chosen(len(series.pages)))
            return
    array = tifffile.memmap(file, mode="r").squeeze()  # one page for all slices, as ImageJ writes large stacks
    yield from (array[k] for k in _chosen(len(array)))


def _itk_planes(path: Path) -> Iterator[Array]:
    import SimpleITK  # here, since training on prepared cases should not need it

    files_of(path)  # of a damaged header ITK complains on the screen
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if any(re.match(r"Segment\d+_", key) for key in reader.GetMetaDataKeys()):
        yield np.array([[0, 1]])  # 3D Slicer's own keys: no need to look
        return
    x, y, z = reader.GetSize()
    stored, voxels = path.stat().st_size, x * y * z
    whole = voxels * SimpleITK.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    if stored > SMALL and (DENSEST * voxels < stored < whole or stored > LARGEST_READ):
        return
    for k in _chosen(z):
        reader.SetExtractIndex((0, 0, k))
        reader.SetExtractSize((x, y, 1))
        yield SimpleITK.GetArrayFromImage(reader.Execute())[0]


def _chosen(count: int) -> list[int]:
    return sorted({round(k * (count - 1) / (SLICES - 1)) for k in range(SLICES)})
