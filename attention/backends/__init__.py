"""The backends: ways to sum a kernel over weighted points, for any law.

* harmonic: ``zonal_sums`` (``zonal``, ``zonal_fields``, ``fourier``),
* Laplace: ``laplace`` (``laplace_grid``, ``laplace_transform``, ``chebyshev``, ``boxes``),
* direct: ``direct`` (``tiles``, ``leaves``) and ``blocked``, with ``pairs`` and ``ring``,
* moments: ``linear``.

``kernels`` says what is summed, ``sums`` what is returned.
"""
