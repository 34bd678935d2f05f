// The maps that the store is measured against, in a module of their own so that nobody who uses the project gets them.
module kv/store/peers

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	github.com/puzpuzpuz/xsync/v4 v4.5.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.50.0
	kv v0.0.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace kv => ../..
