"""`python -m benchmarks.growth`."""

from benchmarks.command import main
from benchmarks.growth import subject

if __name__ == "__main__":
    main(subject.SUBJECT, subject.__doc__)
