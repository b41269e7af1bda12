"""Commands about models: export, int8 networks, and the released checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

QUANTIZE_RUN_HELP = "Run folder with labelled crops, after stage 04; default: the one that contains the model."


def export(
    model: Annotated[str, typer.Argument(help="Model folder or released checkpoint.")],
    format_name: Annotated[str, typer.Option("--format", help="onnx, or openvino (a pair of .xml and .bin).")] = "onnx",
    output: Annotated[Path | None, typer.Option(help="File; default: <name of MODEL>.onnx or .xml.")] = None,
) -> None:
    """Export a model for other programs, with its recipe; print how far its scores are from PyTorch's."""
    from dfdc_lib.classifier import checkpoints, export, model_files
    from dfdc_lib.run_folder import Run

    here, suffix = Run(Path.cwd()), export.suffix_of(format_name)
    files = model_files.find_model(model_path(model, here.root), here)
    classifier, card = checkpoints.load_classifier(files), files.card
    path = output or Path(f"{card.name}{suffix}")
    export.export(classifier, card, path)
    squares, source = export.comparison_squares(Path(model), card.recipe)
    difference = export.largest_difference(path, classifier, squares, card.recipe)
    typer.echo(f"largest difference of scores on {len(squares)} crops of {source}: {difference:.1e}")
    typer.echo(f"model: {path.resolve()}")


def quantize(
    model: Annotated[str, typer.Argument(help="Model folder or released checkpoint.")],
    run_folder: Annotated[Path | None, typer.Option("--run", help=QUANTIZE_RUN_HELP)] = None,
) -> None:
    """Make a model's int8 network for PRECISION=int8, if it ranks crops as well as float32; print the comparison."""
    from dfdc_lib.classifier import model_files, quantize
    from dfdc_lib.run_folder import Run

    run = Run((run_folder or Path(model).absolute().parent.parent).resolve())
    files = model_files.find_model(model_path(model, run.root), run)
    record = quantize.quantize(files, run)
    typer.echo(quantize.report(record))
    if reason := quantize.refusal(record):
        raise ValueError(f"PRECISION=int8 is not available for {files.card.name}: {reason}")
    typer.echo(f"PRECISION=int8 is available for {files.card.name} on this machine")


def list_weights() -> None:
    """List the released checkpoints and their state in the cache folder: present, incomplete, missing or wrong size."""
    from dfdc_lib.classifier import released

    folder = released.cache_folder()
    typer.echo(f"folder: {folder}")
    for checkpoint in released.RELEASED:
        state = released.describe_state(checkpoint, folder)
        typer.echo(f"{checkpoint.name}  {checkpoint.size_bytes / 1e6:6.1f} MB  {state}")


def download_weights(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
) -> None:
    """Download checkpoints; resume partial downloads and skip complete files."""
    from dfdc_lib.classifier import released

    for checkpoint in released.choose(names or []):
        typer.echo(f"ok  {released.download(checkpoint, released.cache_folder())}")


def verify_weights() -> None:
    """Compare each checkpoint's SHA-256 with the published one; exit with status 1 unless all are present and match."""
    from dfdc_lib.classifier import released

    folder = released.cache_folder()
    states = {checkpoint.name: released.verify(checkpoint, folder) for checkpoint in released.RELEASED}
    for name, state in states.items():
        typer.echo(f"{state:<8}{name}")
    if set(states.values()) != {"ok"}:
        raise ValueError(f"some checkpoints in {folder} are missing or wrong: run `dfdc weights download`")


def model_path(name: str, run_folder: Path) -> str:
    """Return the absolute path of a model folder; the name of a released checkpoint or run's model stays."""
    from dfdc_lib.classifier import released

    names = {checkpoint.name for checkpoint in released.RELEASED}
    if name in names or (run_folder / "models" / name).is_dir():
        return name
    if not Path(name).exists():
        raise FileNotFoundError(
            f"there is no model {name!r}: expected a model folder (outputs/<run>/models/<name>) or a name that "
            "`dfdc weights list` shows"
        )
    return str(Path(name).resolve())
