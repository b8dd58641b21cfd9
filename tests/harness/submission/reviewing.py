"""What the tests of reviews share: the repository, and what was said in it."""

REPO, KIND = "org/results", {"repo_type": "dataset"}


def comments(discussion):
    return [event["data"]["latest"]["raw"] for event in discussion.events if event["type"] == "comment"]


def said(errors):
    """What stands on stderr but the client's progress."""
    return "\n".join(line for line in errors.splitlines() if line and "Fetching" not in line)
