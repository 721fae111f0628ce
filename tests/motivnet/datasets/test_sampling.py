from motivnet.datasets.sampling import RandomStream, random_stream


def test_no_two_uses_of_a_seed_share_their_numbers() -> None:
    numbers = [
        random_stream(5, use, *label).random() for use in RandomStream for label in ((), (1,), (2,))
    ]
    assert len(set(numbers)) == len(numbers)
    assert (
        random_stream(5, RandomStream.SHEET, 1).random()
        == random_stream(5, RandomStream.SHEET, 1).random()
    )
    assert (
        random_stream(5, RandomStream.SHEET, 1).random()
        != random_stream(6, RandomStream.SHEET, 1).random()
    )
