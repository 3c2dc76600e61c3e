package app

// StartError is why a controller could not start; nothing was begun. The
// process ends with status 2, as it does for mistakes in the configuration.
type StartError struct{ err error }

// Error implements error: one sentence that names the key and the remedy.
func (e *StartError) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *StartError) Unwrap() error { return e.err }

// ExitCode is the process's status.
func (e *StartError) ExitCode() int { return 2 }
