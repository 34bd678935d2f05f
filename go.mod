module kv

go 1.26
