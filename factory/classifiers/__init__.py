"""Classifiers of texts, small enough to train inside a run: what discriminators and evaluations are made of.

`tfidf` is always there and takes seconds. `crossfit` judges every text by a classifier that has seen nothing of its
source; what learns there is a back end: `backends` has words and a frozen encoder, `finetuning` an encoder that is trained.
"""
