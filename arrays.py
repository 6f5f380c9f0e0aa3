"""The arrays that everything is made of."""

import numpy as np
import numpy.typing as npt

#: Real numbers: coordinates, weights, values; dimensionless.
Array = npt.NDArray[np.float64]
#: Numbers of nodes, edges or cells.
Indices = npt.NDArray[np.int64]
