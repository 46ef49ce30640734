from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from ctsr.phantom.cases import generate
from ctsr.records.phantom import PhantomSettings


def comparison() -> ModuleType:
    """The script that makes the table in docs/phantom.md."""
    file = Path(__file__).resolve().parents[2] / "docs" / "compare_phantom.py"
    spec = importlib.util.spec_from_file_location("compare_phantom", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.realdata
def test_clinical_side_is_near_a_real_scan(shared_data: Path, tmp_path: Path) -> None:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared_data / "clinical" / "rider-pilot-0117"))[30:50])
    image = reader.Execute()
    measure = comparison().measure
    real = measure(SimpleITK.GetArrayFromImage(image).astype(float), image.GetSpacing()[0])
    generate(tmp_path / "p", PhantomSettings().changed(clinical_cases=2, micro_cases=0, paired_cases=0), False)
    scans = [nib.load(file) for file in sorted((tmp_path / "p" / "clinical").iterdir())]
    rows = [measure(scan.get_fdata().T, 0.625) for scan in scans]
    ours = {name: float(np.mean([row[name] for row in rows])) for name in real}
    assert ours["median HU"] == pytest.approx(real["median HU"], abs=40)
    assert ours["share above −700 HU"] == pytest.approx(real["share above −700 HU"], abs=0.03)
    assert ours["standard deviation, vessel-free 16²"] == pytest.approx(
        real["standard deviation, vessel-free 16²"], rel=0.25
    )
    assert ours["fine noise (1.48 MAD above σ 1 pixel)"] == pytest.approx(
        real["fine noise (1.48 MAD above σ 1 pixel)"], rel=0.35
    )
