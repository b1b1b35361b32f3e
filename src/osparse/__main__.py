from osparse.cli.main import main

main()
