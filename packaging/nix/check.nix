# Evaluates the module without nixpkgs, by stand-ins for what it takes from there: nix-instantiate --eval --strict packaging/nix/check.nix
# What a machine does with it is in test.nix, which needs nixpkgs.
let
  lib = {
    mkIf = condition: value: if condition then value else { };
    mkOption = option: option;
    mkEnableOption = description: { inherit description; };
    literalExpression = text: text;
    genAttrs = names: value: builtins.listToAttrs (map (name: { inherit name; value = value name; }) names);
    getExe = package: "${package}/bin/xennet";
    types = { package = "package"; bool = "bool"; attrsOf = type: type; };
  };
  pkgs = {
    dnsmasq = "dnsmasq";
    callPackage = path: arguments: "package";
    formats.toml = settings: { type = "toml"; generate = name: value: builtins.toFile name (builtins.toJSON value); };
    runCommand = name: arguments: script: builtins.toFile name script;
  };
  module = services: import ./module.nix {
    inherit lib pkgs;
    config.services.xennet = { package = "/package"; hotplug = { }; networks = { }; replaceScripts = false; } // services;
  };
  off = (module { enable = false; }).config;
  on = (module {
    enable = true;
    hotplug.bind_mac = true;
    networks.lan = { mode = "bridge"; uplink = "eth0"; bridge = "xenbr0"; };
  }).config;
  services = on.systemd.services;
in
assert off == { };
assert services.xennet-networks.serviceConfig.ExecStart == "/package/bin/xennet network start --all";
assert builtins.elem "xendomains.service" services.xennet-networks.before;
assert on.environment.etc."xen/scripts/xennet-vif-nat".source == "/package/etc/xen/scripts/xennet-vif-nat";
assert on.environment.etc ? "xennet/networks.toml" && on.environment.etc ? "xennet/hotplug.toml";
assert (module { enable = true; }).config.systemd.services == { };
assert builtins.attrNames (module { enable = true; }).options.services.xennet == [ "enable" "hotplug" "networks" "package" "replaceScripts" ];
"1 passed, 0 failed"
