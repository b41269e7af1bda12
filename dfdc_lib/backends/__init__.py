"""Where networks run. In: the user's choice, and a network in PyTorch. Out: an engine, and the network ready to run."""
