"""The command line of the operator: `./freshness`, with a module for each command.

Commands parse arguments and print results. `freshness.app.reading.queries` answers their questions, and
`freshness.app.operations` carries out what they change.
"""
