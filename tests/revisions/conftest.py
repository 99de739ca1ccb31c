"""The repository that the tests of a report on two revisions read."""

from revisions.two_revisions import repository  # noqa: F401
