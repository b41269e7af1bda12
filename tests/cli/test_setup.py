"""Commands that set up a machine."""

from pathlib import Path

import pytest
from commands import invoke, refusal
from typer.testing import CliRunner

from dfdc_lib import doctor
from dfdc_lib.cli import app
from dfdc_lib.data import sample
from dfdc_lib.doctor import Finding


def test_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refusal("sample", str(tmp_path))
    assert "seed" in refusal("sample", str(tmp_path / "s"), "--seed", "-1")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["thesis.tex"]
    monkeypatch.setattr(sample, "make_sample", lambda root, seed: (root, seed))
    assert invoke("sample", str(tmp_path / "s"), "--seed", "3") == f"sample: {(tmp_path / 's', 3)}\n"


@pytest.mark.parametrize("findings", [[], [Finding("disk", True, "72 GiB free")], [Finding("GPU", False, "advice")]])
def test_doctor(findings: list[Finding], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == (0 if all(finding.ok for finding in findings) else 1)
    assert all(finding.text in result.stdout for finding in findings)
