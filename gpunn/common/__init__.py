"""What every floor uses: names and settings of parts, checks of arguments, seeds, locks.

It imports nothing of gpunn but itself.
"""
