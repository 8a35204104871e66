"""Training of the energy head: photos -> pairs of frames -> objective -> loop."""
