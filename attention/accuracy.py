"""How accurate attention needs to be where its errors are weighted with the measure's own mass."""

#: Relative error of Z, and of averages over it, where Z is small against e^beta, that is where
#: there is almost no mass (a share m of the mass near x makes Z(x) at least m e^beta). Weighted
#: with the mass, the error of harmonics stays at 1e-12; that of other backends is well below the
#: bound.
OF_OWN_MASS = 1e-8
