"""Series of files over time that go on after a pause."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
import pyvista as pv

from meanformer.simulation.output.resume import Start
from meanformer.simulation.output.vtk_series import Series, encoded


def write(series, times):
    for time in times:
        series.append(time, ".vtp", encoded(pv.PolyData(np.full((5, 3), time))))
        series.advance()


def entries(folder):
    found = ET.parse(folder / "cloud.pvd").findall(".//DataSet")
    return [(float(entry.attrib["timestep"]), entry.attrib["file"]) for entry in found]


def test_goes_on_after_the_last_sample_and_drops_what_came_later(tmp_path):
    series = Series(tmp_path, "cloud", Start())
    series.open()
    write(series, [0.0, 0.1, 0.2, 0.3])
    (tmp_path / "cloud" / "00002_1.vtu").touch()
    (tmp_path / "cloud" / "00003.vtp.new").touch()
    (tmp_path / "cloud" / "notes.txt").touch()
    again = Series(tmp_path, "cloud", Start(samples=2, sampled=0.1))
    again.open()
    assert [time for time, _ in entries(tmp_path)] == [0.0, 0.1]
    kept = sorted(path.name for path in (tmp_path / "cloud").iterdir())
    assert kept == ["00000.vtp", "00001.vtp", "notes.txt"]
    write(again, [0.15])
    assert entries(tmp_path)[2] == (0.15, "cloud/00002.vtp")
    reader = pv.get_reader(tmp_path / "cloud.pvd")
    assert reader.time_values == [0.0, 0.1, 0.15]
    for time in reader.time_values:
        reader.set_active_time_value(time)
        assert np.all(reader.read()[0].points == time)


def test_more_samples_than_five_digits(tmp_path):
    series = Series(tmp_path, "cloud", Start(samples=123456, sampled=1.0))
    series.open()
    write(series, [2.0])
    Series(tmp_path, "cloud", Start(samples=123457, sampled=2.0)).open()
    assert entries(tmp_path) == [(2.0, "cloud/123456.vtp")]
    assert (tmp_path / "cloud" / "123456.vtp").exists()


@pytest.mark.parametrize("damaged", ["", "<VTKFile", '<VTKFile><DataSet file="x"/></VTKFile>'])
def test_a_damaged_collection_is_named(damaged, tmp_path):
    (tmp_path / "cloud.pvd").write_text(damaged)
    with pytest.raises(OSError, match=r"cloud\.pvd is damaged: .*; without it, the run goes on"):
        Series(tmp_path, "cloud", Start(samples=2, sampled=0.1)).open()
    (tmp_path / "cloud.pvd").unlink()
    series = Series(tmp_path, "cloud", Start(samples=2, sampled=0.1))
    series.open()
    write(series, [0.2])
    assert entries(tmp_path) == [(0.2, "cloud/00002.vtp")]


@pytest.mark.parametrize(
    "data", [pv.PolyData(np.eye(3)), pv.Icosphere().cast_to_unstructured_grid()]
)
def test_what_is_encoded_is_read(data, tmp_path):
    data.point_data["numbers"] = np.arange(data.n_points) / 3
    path = tmp_path / ("x.vtp" if isinstance(data, pv.PolyData) else "x.vtu")
    path.write_bytes(encoded(data))
    read = pv.read(path)
    assert np.array_equal(read.points, data.points)
    assert np.array_equal(read["numbers"], data["numbers"])
