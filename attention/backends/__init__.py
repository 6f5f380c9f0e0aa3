"""The backends: ways to sum a kernel over weighted points, for any law.

* ``harmonic``: zonal kernels on the circle and the sphere, diagonal in harmonics,
* ``laplace``: exponentials in up to three dimensions, products over coordinates,
* ``direct``: all pairs, or those that count,
* ``moments``: products of features, by two moments of the measure.

``kernels`` says what is summed, ``problem`` for what, ``plan`` by which backend, and ``backend``
what is returned.
"""
