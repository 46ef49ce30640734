"""Profiles of the greys across borders: a blurred step tells what a kernel does to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from ctsr.imaging.kernel.measured import BINS, REACH, STEP, UNIT_MM, Profile
from ctsr.imaging.volume import Image, Mask

Array = npt.NDArray[np.float64]

DRAWN_ON = 1.0  # units: standard deviation of the Gaussian before a border is drawn
ALONG = 3.0  # units along a border over which it is smoothed
BETWEEN = 0.5  # units between a border's points
LOOKED_AT = (3.0, 4.0, 5.0)  # units from the border, where tissue and air must be what they are
STRAIGHT = 0.1  # radians per unit: borders that turn more are left out
SHORTEST = 20.0  # units
ENDS = 2.0  # units that are left out at both ends of a stretch

LEVEL = -475.0  # HU halfway
TISSUE = (-200.0, 250.0)  # HU beyond a border, slightly smoothed
LUNG = (-975.0, -620.0)
AIR = (-1100.0, -900.0)


@dataclass(frozen=True, eq=False)
class _Borders:
    """Evenly spaced points (y, x) on borders, in pixels.

    Attributes:
        points: Where.
        normals: Unit vectors towards tissue.
        wall: Which of them have lung on the other side.
        skin: Which have air.
    """

    points: Array
    normals: Array
    wall: Mask
    skin: Mask


def border_profiles(image: Image, clear: Image, lung: Mask, valid: Mask, pixel: float) -> tuple[Profile, Profile]:
    """The profiles from lung into its wall, and from air into the body, of one slice.

    Args:
        image: HU (y, x).
        clear: The same without overshoot, as far as that is known: borders are drawn on it.
        lung: Where the lung is.
        valid: Where the scanner saw the body, far enough from the edge of its field of view.
        pixel: Size in mm.
    """
    scale = UNIT_MM / pixel  # pixels per unit
    borders = _find(ndimage.gaussian_filter(clear, DRAWN_ON * scale), lung, valid, scale)
    fits = borders.wall | borders.skin
    if not fits.any():
        return Profile.nothing(), Profile.nothing()
    pixels = np.argwhere(_near(image.shape, borders.points[fits], (REACH + 1) * STEP * scale) & valid)
    _, nearest = cKDTree(borders.points).query(pixels)
    across = np.einsum("ij,ij->i", pixels - borders.points[nearest], borders.normals[nearest]) / scale
    bins = np.rint(across / STEP).astype(int) + REACH
    inside = (bins >= 0) & (bins < BINS)
    greys = image[tuple(pixels.T)].astype(np.float64)
    wall, skin = inside & borders.wall[nearest], inside & borders.skin[nearest]
    return Profile.of(bins[wall], greys[wall]), Profile.of(bins[skin], greys[skin])


def _near(shape: tuple[int, ...], points: Array, reach: float) -> Mask:
    marked = np.ones(shape, dtype=bool)
    y, x = np.clip(np.rint(points).astype(int), 0, np.array(shape) - 1).T
    marked[y, x] = False
    near: Mask = ndimage.distance_transform_edt(marked) <= reach + 1
    return near


def _find(smooth: Image, lung: Mask, valid: Mask, scale: float) -> _Borders:
    """All contours halfway, and which of their points are borders."""
    seen, in_lung = (mask.astype(np.float32) for mask in (valid, lung))
    points, normals, walls, skins = [np.empty((0, 2))], [np.empty((0, 2))], [np.empty(0, bool)], [np.empty(0, bool)]
    for line in find_contours(smooth, LEVEL):
        if (along := _along(line, scale)) is None:
            continue
        place, tangent, turn = along
        normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
        towards = _sample(smooth, place + 2 * scale * normal) - _sample(smooth, place - 2 * scale * normal)
        normal *= np.sign(towards)[:, None]
        wall, skin = turn < STRAIGHT * BETWEEN, turn < STRAIGHT * BETWEEN
        for reach in LOOKED_AT:
            inner, outer = place + reach * scale * normal, place - reach * scale * normal
            tissue = _within(_sample(smooth, inner), TISSUE)
            tissue &= (_sample(seen, inner) > 0.99) & (_sample(seen, outer) > 0.99)
            grey, lungs = _sample(smooth, outer), _sample(in_lung, outer) > 0.5
            wall = wall & tissue & lungs & _within(grey, LUNG)
            skin = skin & tissue & ~lungs & _within(grey, AIR)
        points.append(place)
        normals.append(normal)
        walls.append(_inner(wall))
        skins.append(_inner(skin))
    return _Borders(*(np.concatenate(of) for of in (points, normals, walls, skins)))


def _along(line: Array, scale: float) -> tuple[Array, Array, Array] | None:
    """Evenly spaced points of a contour, their tangents, and by how much these turn.

    None where the contour is too short.
    """
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    if lengths[-1] < SHORTEST * scale:
        return None
    closed = bool(np.allclose(line[0], line[-1]))
    at = np.linspace(0, lengths[-1], int(lengths[-1] / (BETWEEN * scale)), endpoint=not closed)
    mode = "wrap" if closed else "nearest"
    points = np.stack([np.interp(at, lengths, line[:, axis]) for axis in (0, 1)], axis=1)
    points = ndimage.gaussian_filter1d(points, ALONG / BETWEEN, axis=0, mode=mode)
    tangent = ndimage.gaussian_filter1d(points, 1.0, axis=0, order=1, mode=mode)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    turn = np.abs(np.gradient(np.unwrap(np.arctan2(tangent[:, 0], tangent[:, 1]))))
    return points, tangent, turn


def _inner(fits: Mask) -> Mask:
    """Without the ends of each stretch."""
    inner: Mask = ndimage.binary_erosion(fits, iterations=round(ENDS / BETWEEN))
    return inner


def _sample(image: Image, points: Array) -> Array:
    return np.asarray(ndimage.map_coordinates(image, points.T, order=1, mode="constant", cval=-3000.0))


def _within(values: Array, ends: tuple[float, float]) -> Mask:
    return np.asarray((values > ends[0]) & (values < ends[1]))
