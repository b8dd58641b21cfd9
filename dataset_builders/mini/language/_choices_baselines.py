"""Baselines that see a part of a question only: what they score beyond chance, the construction gives away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataset_builders.mini.language.choices import TEST_SAMPLES, questions
from dataset_builders.mini.language.choices_question import LETTERS, Question

TRAINED_ON = 4000


def options_only(task: str, trained_on: int = TRAINED_ON) -> float:
    """Returns the exact match on the test split of a classifier that sees the options without the story.

    A logistic regression on the words of an option, of the others, and its letter judges each option; the likeliest
    one is the answer.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    training, test = questions(task, "training", trained_on), questions(task, "test", TEST_SAMPLES)
    vectorizer = DictVectorizer()
    features = vectorizer.fit_transform([one for question in training for one in _option_features(question)])
    labels = [letter == question.answer for question in training for letter, _ in _lettered(question)]
    classifier = LogisticRegression(max_iter=1000).fit(features, labels)
    right = 0
    for question in test:
        scores = classifier.decision_function(vectorizer.transform(_option_features(question)))
        right += LETTERS[int(np.argmax(scores))] == question.answer
    return right / len(test)


def question_only(task: str, trained_on: int = TRAINED_ON) -> float:
    """Returns the exact match on the test split of a logistic regression on the words of the story."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    training, test = questions(task, "training", trained_on), questions(task, "test", TEST_SAMPLES)
    vectorizer = CountVectorizer(ngram_range=(1, 2))
    features = vectorizer.fit_transform([question.story for question in training])
    classifier = LogisticRegression(max_iter=1000).fit(features, [question.answer for question in training])
    guesses = classifier.predict(vectorizer.transform([question.story for question in test]))
    return float(np.mean([guess == question.answer for guess, question in zip(guesses, test, strict=True)]))


def _lettered(question: Question) -> Sequence[tuple[str, str]]:
    return list(zip(LETTERS, question.options, strict=False))


def _option_features(question: Question) -> list[dict[str, int]]:
    rows = []
    for letter, option in _lettered(question):
        row = {f"letter {letter}": 1, f"option {option}": 1}
        for word in option.split():
            row[f"word {word}"] = 1
        for other in question.options:
            if other != option:
                row[f"beside {other}"] = 1
        rows.append(row)
    return rows
