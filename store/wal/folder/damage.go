package folder

import (
	"fmt"
	"path/filepath"
)

// DamageError says that a file of a data folder is not what was written. Repair of package tool helps.
type DamageError struct {
	Dir    string
	File   string // a name in Dir
	Offset int64  // where in the file
	Detail string
}

// Error says what is damaged, and which command repairs it.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s; `kvd check %s` shows all that is wrong, `kvd repair %s` keeps a copy and saves what can be saved",
		filepath.Join(e.Dir, e.File), e.Offset, e.Detail, e.Dir, e.Dir)
}
