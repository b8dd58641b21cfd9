"""Trains the classifier of the digits tracks: `python -m dataset_builders.mini.train_digits`.

A run that was stopped goes on from its checkpoint, and ends with the bits of one that was not.
"""

if __name__ == "__main__":
    # Imported here, because the search for builders imports every module of this package.
    from dataset_builders.mini._digits_training import main

    main()
