"""Classifiers of texts, small enough to train inside a run: what discriminators and evaluations are made of.

`tfidf` is always there and takes seconds; `encoder` fine-tunes a transformer or uses one as a feature extractor.
All have `fit(texts, labels)` and `probabilities(texts) -> [texts, classes]`, classes in the order of `classes`.
"""
