"""Age from a face (Tables 3 and S1 of the paper): UTKFace, its split by Cao et al., augmentation and figures."""
