"""Hostile input: mutations of bitstreams and files, the process that survives them, and the rules of what counts.

`mutations` changes bytes, `json_mutations` documents; `streams` and `files` make numbered cases of them; `judge` runs a
case and says what became of it, by the costs of `honest` input; `child` does so in a process that `supervisor` watches;
`journal` keeps what was found.
"""
