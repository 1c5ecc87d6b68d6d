"""Fine-tuned models that answer: predictions for files and for single inputs."""
