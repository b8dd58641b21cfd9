"""Language tasks: problems and questions, their tokenizers, the builders, and the training of the decoders."""
