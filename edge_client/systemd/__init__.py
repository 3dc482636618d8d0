"""Units for systemd and rules for udev, as `fimi-client units` writes them."""
