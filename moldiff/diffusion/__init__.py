"""How a State is noised and denoised."""
