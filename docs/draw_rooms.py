"""The picture of the rooms in docs/architecture.md, drawn from the import rules in pyproject.toml.

Run it as `python docs/draw_rooms.py`; give a file such as rooms.png to draw it elsewhere.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

PROJECT = Path(__file__).parents[1]
PICTURE = Path(__file__).parent / "images" / "rooms.svg"
WIDTH, ROW, GAP = 13.0, 0.27, 0.1  # inches: of the picture, of a line of text, between boxes
LETTERS = 12  # in an inch
COLOURS = ("#dce8f5", "#eef4fa", "#ffffff")  # of boxes within boxes


@dataclass(frozen=True)
class Room:
    """A room, or files that may import each other.

    Attributes:
        name: Of the room; empty: of the files.
        files: Those in it, where no rule parts them.
        layers: Rooms in it, side by side, from the top.
    """

    name: str
    files: Sequence[str] = ()
    layers: Sequence[Sequence[Room]] = ()

    def lines(self, width: float) -> list[str]:
        """The text in a box."""
        return [
            *([self.name] if self.name else []),
            *wrap(", ".join(self.files), int(LETTERS * (width - 2 * GAP)), break_long_words=False),
        ]

    def height(self, width: float) -> float:
        """Of its box."""
        inner = sum(_height(layer, width - 2 * GAP) + GAP for layer in self.layers)
        return GAP + ROW * len(self.lines(width)) + inner


def rooms() -> list[list[Room]]:
    """The layers of the contract "one direction only", from the top; those of other contracts lie within."""
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = [contract for contract in contracts if contract["type"] == "layers"]
    inner = {room: contract["layers"] for contract in layered for room in contract.get("containers", [])}
    (whole,) = (contract["layers"] for contract in layered if "containers" not in contract)

    def layer(text: str, above: str = "") -> list[Room]:
        if ":" in text:
            return [Room("", [name.strip() for name in text.split(":")])]
        return [room(name.strip(), above) for name in text.split("|")]

    def room(name: str, above: str) -> Room:
        full = f"{above}{name}"
        if full in inner:
            return Room(name, layers=[layer(text, f"{full}.") for text in inner[full]])
        folder = PROJECT / full.replace(".", "/")
        below = sorted(path for path in folder.glob("*") if path.is_dir() and (path / "__init__.py").exists())
        return Room(name, sorted(path.stem for path in [*folder.glob("[!_]*.py"), *below]))

    return [layer(text) for text in whole]


def _height(layer: Sequence[Room], width: float) -> float:
    return max(room.height(wide) for room, wide in zip(layer, _widths(layer, width), strict=True))


def _widths(layer: Sequence[Room], width: float) -> list[float]:
    """Of boxes side by side: by what they hold."""
    shares = [11 + len(room.files) + 4 * len(room.layers) for room in layer]
    return [(width - GAP * (len(layer) - 1)) * share / sum(shares) for share in shares]


def _stack(axes: Axes, layers: Sequence[Sequence[Room]], left: float, top: float, width: float, depth: int) -> None:
    for layer in layers:
        at, tall = left, _height(layer, width)
        for room, wide in zip(layer, _widths(layer, width), strict=True):
            style = {"facecolor": COLOURS[min(depth, len(COLOURS) - 1)], "edgecolor": "#5b7ea6", "linewidth": 0.8}
            axes.add_patch(FancyBboxPatch((at, top), wide, tall, boxstyle="round,pad=0,rounding_size=0.05", **style))
            lines = room.lines(wide)
            for number, line in enumerate(lines):
                bold = "bold" if line == room.name and not depth else "normal"
                place = (at + GAP, top + GAP / 2 + ROW * (number + 0.7))
                axes.text(*place, line, fontsize=10, weight=bold, color="black" if line == room.name else "#31475f")
            _stack(axes, room.layers, at + GAP, top + GAP + ROW * len(lines), wide - 2 * GAP, depth + 1)
            at += wide + GAP
        top += tall + GAP


def draw(path: Path) -> None:
    """Draw them: who stands higher may import what stands lower; rooms side by side do not know each other."""
    layers, width = rooms(), WIDTH - 2 * GAP
    height = GAP + sum(_height(layer, width) + GAP for layer in layers)
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rooms"})  # text as text, the same file anew
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    _stack(axes, layers, GAP, GAP, width, 0)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=80)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
