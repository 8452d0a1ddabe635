"""Vocabulary: tokens that the training data never uses leave the embedding table and the tokenizer."""

from optimizer.vocabulary.stage import Start, check_choice, fit_vocabulary

__all__ = ["Start", "check_choice", "fit_vocabulary"]
