"""`make arm64`: a board's install and one federated round on arm64 Debian 12, emulated on any machine."""
