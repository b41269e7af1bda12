"""What all records share: the base class, coordinates, labels, names and keys."""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict

Box = tuple[float, float, float, float]  # x0, y0, x1, y1; x1 and y1 exclusive
Area = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels; x1 and y1 exclusive
Point = tuple[float, float]  # x, y
Landmarks = tuple[Point, Point, Point, Point, Point]  # eyes, nose, mouth corners; left first

BOX_COLUMNS = ["box_x0", "box_y0", "box_x1", "box_y1"]  # of a box in a table

REAL, FAKE = 0, 1  # labels; None = unknown
BUILT_IN_SAMPLE = "built-in sample"  # as run.json and model cards name it


class Record(BaseModel):
    """A frozen record that refuses unknown fields, and numbers that JSON lacks (NaN, infinity)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def require_file_name(name: str) -> str:
    """Return `name` unchanged; raise ValueError if it is empty, `.` or `..`, or contains a slash, backslash or NUL."""
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError(f"expected the name of one file or folder, got {name!r}: choose another name")
    return name


FileName = Annotated[str, AfterValidator(require_file_name)]


class FaceKey(NamedTuple):
    """The key of one face: its video, its frame and its index in that frame."""

    video_id: str
    frame_index: int
    face_index: int

    @property
    def name(self) -> str:
        """Name of the face's PNG files, without suffix: `00030_0` is face 0 of frame 30."""
        return f"{self.frame_index:05d}_{self.face_index}"


KEY_COLUMNS = list(FaceKey._fields)  # of a FaceKey in tables


def box_of(row: Mapping[Hashable, Any]) -> Box:
    """Return the box (x0, y0, x1, y1) that a table row holds in its `BOX_COLUMNS`.

    `row`: column -> value, of a table with one row per face.
    """
    return row["box_x0"], row["box_y0"], row["box_x1"], row["box_y1"]
