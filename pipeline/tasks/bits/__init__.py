"""Count the ones in a string of bits: "0110" has 2."""

INPUT = "a string of bits, such as 01101010"
