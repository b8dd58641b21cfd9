"""Submissions: packing results for a public board, validating what others packed, reviewing open pull requests.

A results repository, a dataset repository of the Hub or a folder of the same layout, holds

======================================================================  ================================================
file                                                                    content
======================================================================  ================================================
submissions/<name>/submission.json                                      `manifest.Submission`: who, what, how
submissions/<name>/results/<scenario>@<version>/<codec>/<hash>/         a result as `run` leaves it, its bitstreams in
                                                                        one file (`bitstreams`)
verdicts/<name>.json                                                    `verdict.Verdict`: what a maintainer's
                                                                        validation came to
======================================================================  ================================================
"""
