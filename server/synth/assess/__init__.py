"""What a generator's samples are worth, measured: each file one measure, `whole` all of them."""
