"""`python -m benchmarks.tiers`."""

from benchmarks.command import main
from benchmarks.tiers import subject

if __name__ == "__main__":
    main(subject.SUBJECT, subject.__doc__)
