"""Render the picture of the README: the two-caps run at three times, density and tokens.

scripts/env python docs/pictures.py
"""

from pathlib import Path

from mpi4py import MPI

import numpy as np
import pyvista as pv
from dolfinx import plot

from meanformer.simulation import Case
from meanformer.simulation.builders.solvers import build
from meanformer.simulation.controller import Observer, integrate
from meanformer.simulation.state import State

ROOT = Path(__file__).resolve().parent.parent
TIMES = [0.0, 1.2, 2.4]
SHOWN_TOKENS = 1500


class Panels(Observer):
    """One panel a sample."""

    def __init__(self) -> None:
        self.plotter = pv.Plotter(
            shape=(1, len(TIMES)), off_screen=True, window_size=(1560, 520), border=False
        )
        self._panel = 0

    def sample(self, state: State) -> None:
        plotter = self.plotter
        plotter.subplot(0, self._panel)
        self._panel += 1

        density = state.density.density
        grid = pv.UnstructuredGrid(*plot.vtk_mesh(density.function_space))
        grid.point_data["density"] = np.maximum(density.x.array, 1e-3)
        surface = grid.extract_surface(algorithm="dataset_surface", nonlinear_subdivision=2)
        sphere = plotter.add_mesh(
            surface,
            scalars="density",
            cmap="magma_r",
            log_scale=True,
            clim=[1e-2, 50.0],
            lighting=False,
            show_scalar_bar=False,
        )
        tokens = pv.PolyData(1.01 * state.tokens.points[:SHOWN_TOKENS])
        plotter.add_mesh(
            tokens, color="#0b6e6e", point_size=4, render_points_as_spheres=True, opacity=0.5
        )
        plotter.add_text(f"t = {state.time:g}", position="upper_left", font_size=14, color="black")
        if self._panel == len(TIMES):
            plotter.add_scalar_bar(
                title="density",
                mapper=sphere.mapper,
                vertical=True,
                color="black",
                position_x=0.89,
                position_y=0.2,
                height=0.6,
                width=0.07,
                title_font_size=18,
                label_font_size=16,
                n_labels=3,
                fmt="{:.2g}",
            )
        plotter.camera_position = [(3.9, -1.5, 3.5), (0.0, 0.0, 0.0), (0, 0, 1)]
        plotter.camera.zoom(1.1)


def main() -> None:
    case = Case.load(ROOT / "cases/two-caps.toml")
    panels = Panels()
    state, _ = build(case, MPI.COMM_SELF)
    integrate(state, TIMES, [panels])
    target = ROOT / "docs/pictures/two-caps.png"
    target.parent.mkdir(exist_ok=True)
    panels.plotter.set_background("white")
    panels.plotter.screenshot(target)
    print(target)


if __name__ == "__main__":
    main()
