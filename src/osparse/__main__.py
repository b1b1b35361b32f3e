from osparse.cli import main

main()
