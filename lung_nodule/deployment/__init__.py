"""From a trained checkpoint to a served answer: the model repository, the server, its client and what it writes."""
