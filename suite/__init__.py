"""Everything of the benchmark that is the same for every token-reduction method.

The rooms, in the order the data flows; each imports only from the rooms before it:
`data`, `reduction`, `tasks`, `measure`, `study`, `report`, and `cli` on top.
"""

__version__ = "0.1.0"
