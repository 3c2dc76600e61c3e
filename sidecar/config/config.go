// Package config reads a sidecar's one configuration file: what it stands
// beside, and which controllers it hears.
package config

import (
	"fmt"
	"time"

	controller "switchyard/controller/config"
)

// File is a whole, valid configuration of a sidecar. Paths in it are relative
// to the file.
type File struct {
	// Name is what operators and controllers call this sidecar.
	Name       string `yaml:"name"`
	Datacenter string `yaml:"datacenter"`
	// StateDir is a directory of this sidecar's own, for what it has to remember
	// over its own restart.
	StateDir string `yaml:"state_dir"`
	// Listen is HOST:PORT, on which controllers and other sidecars call.
	Listen string `yaml:"listen"`
	// Secret is shared by the controllers and the sidecars.
	Secret     controller.Secret `yaml:"secret"`
	SecretFile string            `yaml:"secret_file"`
	// Controllers are all of them.
	Controllers []Controller `yaml:"controllers"`
	// TLS is for controllers with an https address.
	TLS      controller.ClientTLS  `yaml:"tls"`
	Consul   Consul                `yaml:"consul"`
	HAProxy  []controller.HAProxy  `yaml:"haproxy"`
	ProxySQL []controller.ProxySQL `yaml:"proxysql"`
	Database Database              `yaml:"database"`
	Log      controller.Log        `yaml:"log"`
}

// Controller is one of the controllers, as this sidecar reaches it.
type Controller struct {
	ID string `yaml:"id"`
	// HTTP is http://HOST:PORT or https://HOST:PORT.
	HTTP string `yaml:"http"`
}

// Consul is where the sidecar of a proxy also reads who is the master; an empty
// address for nowhere.
type Consul struct {
	Address   string               `yaml:"address"`
	Token     controller.Secret    `yaml:"token"`
	TokenFile string               `yaml:"token_file"`
	Prefix    string               `yaml:"prefix"`
	TLS       controller.ConsulTLS `yaml:"tls"`
	// Wait is how long one blocking query may take.
	Wait time.Duration `yaml:"wait"`
}

// Load reads and checks the configuration in path. Env looks a variable of the
// environment up, as os.LookupEnv does.
func Load(path string, env func(string) (string, bool)) (*File, error) {
	data, err := controller.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read (%w); name an existing file with --config, "+
			"`switchyard config example --sidecar` prints one", path, err)
	}
	return parse(path, data, env)
}

func parse(path string, data []byte, env func(string) (string, bool)) (*File, error) {
	f := &File{}
	d, err := controller.Read(path, data, env, f)
	if err != nil {
		return nil, err
	}
	for _, check := range []func(*controller.Document, *File) error{checkIdentity, checkControllers, checkProxies, checkDatabase} {
		if err := check(d, f); err != nil {
			return nil, err
		}
	}
	if !f.Database.Given() && len(f.HAProxy)+len(f.ProxySQL) == 0 {
		return nil, d.Errorf("", "names nothing to stand beside; add haproxy, proxysql or database")
	}
	return f, nil
}

func checkIdentity(d *controller.Document, f *File) error {
	f.StateDir, f.SecretFile = d.Path(f.StateDir), d.Path(f.SecretFile)
	if err := d.CheckName("name", f.Name, "it names this sidecar to operators and controllers"); err != nil {
		return err
	}
	if err := d.CheckName("datacenter", f.Datacenter, "name the datacenter of this host"); err != nil {
		return err
	}
	if err := d.Require("state_dir", f.StateDir, "name a directory of this sidecar's own"); err != nil {
		return err
	}
	if err := d.Require("listen", f.Listen, "give HOST:PORT, where controllers and sidecars call"); err != nil {
		return err
	}
	if err := d.CheckAddress("listen", f.Listen); err != nil {
		return err
	}
	return d.TakeSecret("secret", &f.Secret, f.SecretFile)
}

// maxControllers is how many controllers there may be.
const maxControllers = 9

func checkControllers(d *controller.Document, f *File) error {
	// An even number is what there is while one of them is replaced.
	if n := len(f.Controllers); n < 1 || n > maxControllers {
		return d.Errorf("controllers", "has %d entries; want all controllers: 1 to %d", n, maxControllers)
	}
	ids, urls, secure := map[string]string{}, map[string]string{}, false
	for i, c := range f.Controllers {
		at := fmt.Sprintf("controllers[%d]", i)
		if err := d.CheckName(at+".id", c.ID, "it names the controller, as in the controllers' own files"); err != nil {
			return err
		}
		scheme, err := d.CheckURL(at+".http", c.HTTP)
		if err != nil {
			return err
		}
		secure = secure || scheme == "https"
		if err := d.Unique(ids, c.ID, at+".id", "name each controller once"); err != nil {
			return err
		}
		if err := d.Unique(urls, c.HTTP, at+".http", "give each controller's own address"); err != nil {
			return err
		}
	}
	return d.CheckClientTLS("tls", &f.TLS, secure)
}
