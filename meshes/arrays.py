"""The arrays that meshes are made of."""

import numpy as np
import numpy.typing as npt

#: Coordinates, dimensionless.
Array = npt.NDArray[np.float64]
#: Numbers of nodes, edges or cells.
Indices = npt.NDArray[np.int64]
