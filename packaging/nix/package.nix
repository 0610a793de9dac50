# The package, from this tree: pkgs.callPackage ./package.nix { }
{ lib, rustPlatform, installShellFiles, stdenv }:

let
  root = ../..;
  manifest = builtins.fromTOML (builtins.readFile (root + "/Cargo.toml"));
in
rustPlatform.buildRustPackage {
  pname = "xennet";
  version = manifest.workspace.package.version;
  src = lib.cleanSourceWith {
    src = root;
    filter = path: type: !(type == "directory" && builtins.elem (baseNameOf path) [ "target" ".git" ]);
  };
  cargoLock.lockFile = root + "/Cargo.lock";

  # The program alone; without pictures as PNG, as for other distributions.
  buildAndTestSubdir = "xennet-cli";
  buildNoDefaultFeatures = true;
  # The tests need namespaces and programs to talk to.
  doCheck = false;

  nativeBuildInputs = [ installShellFiles ];
  postInstall = ''
    page() {
      local joined name
      joined=$(IFS=- && echo "$*")
      $out/bin/xennet man "$@" > "xennet''${joined:+-$joined}.1"
      installManPage "xennet''${joined:+-$joined}.1"
    }
    page
    for command in attach detach network show doctor trace undo recover; do page $command; done
    for shell in bash zsh fish; do $out/bin/xennet completions $shell > xennet.$shell; done
    installShellCompletion xennet.{bash,zsh,fish}
    for script in vif-bridge vif-nat vif-route; do
      install -d $out/etc/xen/scripts
      ln -s $out/bin/xennet $out/etc/xen/scripts/xennet-$script
    done
  '';

  meta = {
    description = "Networking of a Xen host, planned, verified and undone";
    license = with lib.licenses; [ mit asl20 ];
    platforms = [ "x86_64-linux" "aarch64-linux" ];
    mainProgram = "xennet";
  };
}
