"""Image encoder, depth head, lift into 3D, BEV backbone, anchor head, and the checkpoint that holds them."""
