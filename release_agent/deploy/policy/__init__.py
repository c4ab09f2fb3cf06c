"""The decisions of a deployment: functions of what is known; looks and clocks are passed to them."""
