"""p(y | x) of a table of numbers: how well an energy network, a Gaussian and a Laplace head know it."""
