import pytest

from dfdc_lib.pipeline.parameters import parse_assignments, read_parameters
from dfdc_lib.pipeline.stage_table import BENCHMARK, INSPECT, NOTEBOOKS, STAGES, all_parameters, choose_stages, files_of
from dfdc_lib.staleness import code_of


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [("", "04", ["00", "01", "02", "03", "04"]), ("02", "03", ["02", "03"]), ("08", "", ["08"]), ("", "00", ["00"])],
)
def test_choose_stages(first: str, last: str, numbers: list[str]) -> None:
    assert [stage.number for stage in choose_stages(first, last)] == numbers


@pytest.mark.parametrize(("first", "last", "keyword"), [("7", "", "00_videos"), ("03", "01", "--from")])
def test_choose_stages_refuses(first: str, last: str, keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        choose_stages(first, last)


def test_the_stage_table_is_in_order_and_complete() -> None:
    names = [stage.name for stage in (*STAGES, INSPECT, BENCHMARK)]
    assert names == sorted(names) == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    numbers = [stage.number for stage in STAGES]
    assert all({*stage.needs, *stage.uses} <= set(numbers[:place]) for place, stage in enumerate(STAGES))
    assert len(files_of(numbers)) == len({name for stage in STAGES for name in stage.makes})  # no file has two makers


@pytest.mark.parametrize("stage", (*STAGES, INSPECT, BENCHMARK), ids=lambda stage: stage.name)
def test_the_code_of_a_stage_exists_and_holds_its_job(stage) -> None:
    files = code_of(stage.code)
    assert all(module.removeprefix("dfdc_lib.").replace(".", "/") + ".py" in files for module in stage.code)
    assert code_of(stage.job).items() <= files.items()


def test_parameters_of_one_name_agree_in_type_and_default() -> None:
    known: dict[str, tuple[str, object]] = {}
    for stage in STAGES:
        for name, parameter in read_parameters(stage.notebook).items():
            agreed = (parameter.type_name, parameter.default)
            assert known.setdefault(name, agreed) == agreed
    assert parse_assignments(["MARGIN=0.3"], all_parameters()) == {"MARGIN": 0.3}
